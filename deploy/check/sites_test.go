package check

import (
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

const sitesFolder = "/etc/spillway/sites"

func TestComposeMountsTheFolderOfSitesIntoEveryProgram(t *testing.T) {
	project := composed(t, []string{"../compose.yaml", "../compose.sites.yaml"}, "tools")
	plain := compose(t, "tools")
	for _, name := range []string{"ingest", "worker", "tools"} {
		service := project.Services[name]
		require.Equal(t, sitesFolder, *service.Environment["SPILLWAY_SITES"], name)
		require.Len(t, service.Volumes, len(plain.Services[name].Volumes)+1)
		mounted := slices.IndexFunc(service.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == sitesFolder })
		require.GreaterOrEqual(t, mounted, 0, name)
		require.True(t, service.Volumes[mounted].ReadOnly, name)
		require.True(t, strings.HasSuffix(service.Volumes[mounted].Source, "/deploy/sites"), service.Volumes[mounted].Source)
		require.Equal(t, plain.Services[name].Secrets, service.Secrets, name)
	}
}

// Of a site's Secret each program gets what every deployment passes to it, and
// nothing of a site is left in the settings of all.
func TestTheAgencysProgramsGetTheirPartOfEachSite(t *testing.T) {
	objects := build(t, "agency")
	var names []string
	for _, settings := range of[*corev1.ConfigMap](objects) {
		if settings.Name != "sites" {
			require.Equal(t, sitesFolder, settings.Data["SPILLWAY_SITES"])
			for _, name := range []string{"SPILLWAY_CRM_URL", "SPILLWAY_SITE_URL", "SPILLWAY_SITE_USER", "SPILLWAY_FIELDS"} {
				require.Empty(t, settings.Data[name], "%s belongs to a site", name)
			}
			continue
		}
		for file := range settings.Data {
			names = append(names, strings.TrimSuffix(file, ".env"))
		}
	}
	require.Len(t, names, 3)
	pods := make(map[string]corev1.PodSpec)
	for _, deployment := range of[*appsv1.Deployment](objects) {
		pods[deployment.Name] = deployment.Spec.Template.Spec
	}
	for _, job := range of[*batchv1.CronJob](objects) {
		pods[job.Name] = job.Spec.JobTemplate.Spec.Template.Spec
	}
	for program, want := range map[string][]string{
		"ingest": {"SPILLWAY_ACCESS_KEYS"}, "worker": {"SPILLWAY_CRM_TOKEN", "SPILLWAY_SITE_APP_PASSWORD"},
		"tools": {"SPILLWAY_ACCESS_KEYS", "SPILLWAY_CRM_TOKEN", "SPILLWAY_SITE_APP_PASSWORD"},
	} {
		pod := pods[program]
		for _, variable := range pod.Containers[0].Env {
			require.NotContains(t, []string{"SPILLWAY_ACCESS_KEYS_FILE", "SPILLWAY_SITE_APP_PASSWORD_FILE"}, variable.Name, program)
		}
		mounts := make(map[string]string)
		for _, mount := range pod.Containers[0].VolumeMounts {
			mounts[mount.Name] = mount.MountPath
		}
		require.Equal(t, sitesFolder, mounts["sites"], program)
		require.Equal(t, program == "ingest", mounts["secrets"] != "", program)
		for _, volume := range pod.Volumes {
			require.Contains(t, mounts, volume.Name, program)
			if volume.Name == "secrets" {
				require.Equal(t, []corev1.KeyToPath{{Key: "admin_password", Path: "admin_password"}}, volume.Secret.Items)
			}
			if volume.Name != "sites" {
				continue
			}
			var settings int
			var found []string
			for _, source := range volume.Projected.Sources {
				if source.ConfigMap != nil {
					require.Equal(t, "sites", source.ConfigMap.Name)
					settings++
					continue
				}
				name := strings.TrimPrefix(source.Secret.Name, "site-")
				found = append(found, name)
				var keys []string
				for _, item := range source.Secret.Items {
					require.Equal(t, name+"/"+item.Key, item.Path)
					keys = append(keys, item.Key)
				}
				require.Equal(t, want, keys, "%s of %s", program, name)
			}
			require.Equal(t, 1, settings, program)
			require.ElementsMatch(t, names, found, program)
		}
	}
	require.Contains(t, read(t, "../docs/sites.md"), "create secret generic site-")
}
