package check

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
)

// passed says which program every deployment passes a secret to. Settings that
// are no secrets reach both by deploy/env, the ConfigMap or /etc/spillway/env.
var passed = map[string][]string{
	"SPILLWAY_ACCESS_KEYS":       {"ingest", "worker"},
	"SPILLWAY_ADMIN_PASSWORD":    {"ingest"},
	"SPILLWAY_SEARCH_KEY":        {"ingest", "worker"},
	"SPILLWAY_CRM_TOKEN":         {"worker"},
	"SPILLWAY_SITE_APP_PASSWORD": {"worker"},
	"SPILLWAY_SECRET_KEY":        {"worker"},
	// In the token's place, for those who use OAuth.
	"SPILLWAY_CRM_CLIENT_ID": {"worker"}, "SPILLWAY_CRM_CLIENT_SECRET": {"worker"}, "SPILLWAY_CRM_REFRESH_TOKEN": {"worker"},
	"SPILLWAY_TLS_KEY": nil, // webhooks come through a proxy
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(path)))
	require.NoError(t, err)
	return string(text)
}

// settings are the names of all settings, of those that are secret, and of
// those that an installation must be told, as the example has them.
func settings(t *testing.T) (all, secret, needed []string) {
	t.Helper()
	marked, isNeeded := false, false
	for line := range strings.Lines(read(t, "env.example")) {
		match := regexp.MustCompile(`^#?(SPILLWAY_\w+)=`).FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "# (secret) "):
			marked = true
		case strings.HasPrefix(line, "# (needed) "):
			isNeeded = true
		case match != nil:
			all = append(all, match[1])
			if isNeeded {
				needed = append(needed, match[1])
			}
			if marked {
				secret = append(secret, match[1])
			}
			marked, isNeeded = false, false
		}
	}
	return all, secret, needed
}

// optional stands for the file of a secret that Kubernetes passes as a variable.
const optional = "optional"

func TestEverySecretHasItsPlaceInTheDeployments(t *testing.T) {
	all, secret, _ := settings(t)
	var decided []string
	for name := range passed {
		decided = append(decided, name)
	}
	require.ElementsMatch(t, secret, decided, "say in `passed` which programs get a secret")
	// compared are a deployment's own settings of a program with what it needs.
	compared := func(deployment, program string, environment map[string]string) {
		for name, programs := range passed {
			needed := slices.Contains(programs, program)
			_, has := environment[name+"_FILE"]
			require.Equal(t, needed, has, "%s: does %s get %s?", deployment, program, name)
		}
		for name := range environment {
			if strings.HasPrefix(name, "SPILLWAY_") {
				plain := strings.TrimSuffix(name, "_FILE")
				require.Contains(t, all, plain, "%s passes %s an unknown setting", deployment, program)
				require.False(t, plain == name && slices.Contains(secret, name), "%s: %s of %s is a secret in the open", deployment, name, program)
			}
		}
	}

	project := compose(t)
	for _, program := range []string{"ingest", "worker"} {
		service := project.Services[program]
		environment := make(map[string]string)
		for name, value := range service.Environment {
			if value != nil {
				environment[name] = *value
			}
		}
		compared("compose.yaml", program, environment)
		var mounted []string
		for _, file := range service.Secrets {
			require.Contains(t, project.Secrets, file.Source)
			mounted = append(mounted, "/run/secrets/"+file.Source)
		}
		require.ElementsMatch(t, mounted, filesOf(environment), "compose.yaml: the secrets that %s mounts and reads", program)
	}

	for _, deployment := range of[*appsv1.Deployment](build(t, "plain")) {
		pod := deployment.Spec.Template.Spec
		environment := make(map[string]string)
		for _, variable := range pod.Containers[0].Env {
			if from := variable.ValueFrom; from != nil {
				// One that the Secret may lack.
				require.True(t, *from.SecretKeyRef.Optional, variable.Name)
				require.Equal(t, variable.Name, "SPILLWAY_"+strings.ToUpper(from.SecretKeyRef.Key))
				environment[variable.Name+"_FILE"] = optional
				continue
			}
			environment[variable.Name] = variable.Value
		}
		compared("kubernetes", deployment.Name, environment)
		var mounted []string
		for _, item := range pod.Volumes[0].Secret.Items {
			mounted = append(mounted, pod.Containers[0].VolumeMounts[0].MountPath+"/"+item.Path)
			require.Contains(t, read(t, "../docs/deploy.md"), "--from-file="+item.Key, "the command that makes the secret")
		}
		files := slices.DeleteFunc(filesOf(environment), func(path string) bool { return path == optional })
		require.ElementsMatch(t, mounted, files, "kubernetes: the secrets that %s mounts and reads", deployment.Name)
	}

	for program, file := range map[string]string{"ingest": "spillway-ingest.service", "worker": "spillway-worker@.service"} {
		unit := read(t, "systemd/"+file)
		environment := make(map[string]string)
		for _, match := range regexp.MustCompile(`(?m)^Environment=(\w+)=(.*)$`).FindAllStringSubmatch(unit, -1) {
			environment[match[1]] = match[2]
		}
		compared(file, program, environment)
		for _, path := range filesOf(environment) {
			name := filepath.Base(path)
			origin := "/etc/spillway/secrets/" + name
			require.Contains(t, read(t, "debian/postinst"), name, "the files that the package makes")
			if strings.HasPrefix(path, "%d/") {
				require.Contains(t, unit, "\nLoadCredential="+name+":"+origin+"\n", file)
				continue
			}
			// One that is replaced while the program runs.
			copies := "=+/usr/bin/install -m 0444 " + origin + " " + path + "\n"
			require.Contains(t, unit, "\nExecStartPre"+copies, file)
			require.Contains(t, unit, "\nExecReload"+copies+"ExecReload=/bin/kill -HUP $MAINPID\n", file)
		}
	}
}

// The operator's commands get every secret of both programs but the admin
// password, which none of them needs, and a folder for their journals.
func TestTheToolsHaveTheSettingsOfBothPrograms(t *testing.T) {
	var needed []string
	for name, programs := range passed {
		if len(programs) > 0 && name != "SPILLWAY_ADMIN_PASSWORD" {
			needed = append(needed, name)
		}
	}
	project := compose(t, "tools")
	tools := project.Services["tools"]
	var has, mounted []string
	environment := make(map[string]string)
	for name, value := range tools.Environment {
		if plain, isFile := strings.CutSuffix(name, "_FILE"); isFile {
			has, environment[name] = append(has, plain), *value
		}
	}
	require.ElementsMatch(t, needed, has)
	for _, file := range tools.Secrets {
		mounted = append(mounted, "/run/secrets/"+file.Source)
	}
	require.ElementsMatch(t, mounted, filesOf(environment))
	require.Equal(t, *project.Services["worker"].Environment["SPILLWAY_REDIS_URL"], *tools.Environment["SPILLWAY_REDIS_URL"])
	require.Equal(t, project.Services["worker"].EnvFiles, tools.EnvFiles)
	require.Len(t, tools.Volumes, 1)
	require.Equal(t, "/var/lib/spillway", tools.Volumes[0].Target)

	objects := build(t, "example")
	job := of[*batchv1.CronJob](objects)[0].Spec.JobTemplate.Spec.Template.Spec
	has = nil
	for _, variable := range job.Containers[0].Env {
		has = append(has, strings.TrimSuffix(variable.Name, "_FILE"))
	}
	require.ElementsMatch(t, needed, has)
	var workers, settings []string
	for _, deployment := range of[*appsv1.Deployment](objects) {
		if deployment.Spec.Template.Labels["app.kubernetes.io/name"] != "worker" {
			continue
		}
		pod := deployment.Spec.Template.Spec
		require.Equal(t, pod.Containers[0].EnvFrom, job.Containers[0].EnvFrom)
		for _, mount := range pod.Containers[0].VolumeMounts {
			workers = append(workers, mount.MountPath)
		}
		for _, variable := range pod.Containers[0].Env {
			settings = append(settings, strings.TrimSuffix(variable.Name, "_FILE"))
		}
	}
	require.Contains(t, workers, "/var/lib/spillway", "commands run there by kubectl exec")
	require.Subset(t, settings, slices.DeleteFunc(needed, func(name string) bool { return name == "SPILLWAY_ACCESS_KEYS" }))
}

func TestKubernetesIsToldWhatAnInstallationMustBeTold(t *testing.T) {
	all, _, needed := settings(t)
	var told []string
	for line := range strings.Lines(read(t, "kubernetes/base/settings.env")) {
		name, _, _ := strings.Cut(line, "=")
		told = append(told, name)
	}
	require.Subset(t, all, told)
	require.Subset(t, told, needed)
}

// filesOf are the files that NAME_FILE variables name.
func filesOf(environment map[string]string) []string {
	var files []string
	for name, value := range environment {
		if strings.HasPrefix(name, "SPILLWAY_") && strings.HasSuffix(name, "_FILE") {
			files = append(files, value)
		}
	}
	return files
}
