// Package check holds the files of deploy/ against the schemas of those who read
// them: Docker Compose's own loader, kustomize, and the types of Kubernetes. It
// is a module of its own, so that none of this is among Spillway's libraries.
package check

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

func compose(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	return composed(t, []string{"../compose.yaml"}, profiles...)
}

func composed(t *testing.T, files []string, profiles ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions(files, cli.WithProfiles(profiles),
		// deploy/env is the administrator's.
		cli.WithoutEnvironmentResolution)
	require.NoError(t, err)
	project, err := options.LoadProject(context.Background())
	require.NoError(t, err)
	return project
}

// stopTime is what every deployment gives a program that stops: a pass takes up to
// 45 s with its end, an answer waits up to 30.
const stopTime = 60 * time.Second

func TestComposeFileIsValidAndItsServicesAreHardened(t *testing.T) {
	require.ElementsMatch(t, []string{"redis", "ingest", "worker"}, compose(t).ServiceNames())
	project := compose(t, "prometheus", "grafana")
	require.ElementsMatch(t, []string{"redis", "ingest", "worker", "prometheus", "grafana"}, project.ServiceNames())
	for _, service := range project.Services {
		require.True(t, service.ReadOnly, service.Name)
		require.Equal(t, []string{"ALL"}, service.CapDrop, service.Name)
		require.Equal(t, []string{"no-new-privileges:true"}, service.SecurityOpt, service.Name)
	}
	worker := project.Services["worker"]
	require.Empty(t, worker.Ports, "a port of the host would keep a second worker out")
	require.Empty(t, worker.ContainerName)
	for _, name := range []string{"ingest", "worker"} {
		require.Equal(t, stopTime, time.Duration(*project.Services[name].StopGracePeriod), name)
	}
	require.Contains(t, project.Services["redis"].HealthCheck.Test[1], "grep -q PONG", "redis-cli ends with 0 after an error, too")
	redis := strings.Join(project.Services["redis"].Command, " ")
	require.Contains(t, redis, "--appendonly yes")
	require.Contains(t, redis, "--maxmemory-policy noeviction")
	require.Contains(t, compose(t, "tools").ServiceNames(), "tools")
	for _, port := range project.Services["ingest"].Ports {
		require.Equal(t, "127.0.0.1", port.HostIP)
	}
}

// scaledObject is KEDA's ScaledObject, as far as it is used: its module brings
// all of KEDA along.
type scaledObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		ScaleTargetRef  struct{ Name string }
		PollingInterval int32
		CooldownPeriod  int32
		MinReplicaCount int32
		MaxReplicaCount int32
		Fallback        struct{ FailureThreshold, Replicas int32 }
		Triggers        []struct {
			Type       string
			MetricType string
			Metadata   map[string]string
		}
	}
}

// podMonitor and prometheusRule are the Prometheus Operator's, as far as they are
// used.
type podMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Selector            metav1.LabelSelector
		PodMetricsEndpoints []struct {
			Port        string
			Relabelings []struct {
				SourceLabels []string
				TargetLabel  string
				Replacement  string
			}
		}
	}
}

type prometheusRule struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              any
}

// build returns an overlay's objects, each decoded strictly: a field that its
// kind does not have is an error.
func build(t *testing.T, overlay string) []any {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../kubernetes/overlays/"+overlay)
	require.NoError(t, err)
	var objects []any
	for _, resource := range built.Resources() {
		object, ok := map[string]any{
			"Namespace": &corev1.Namespace{}, "ConfigMap": &corev1.ConfigMap{}, "Service": &corev1.Service{},
			"Deployment": &appsv1.Deployment{}, "StatefulSet": &appsv1.StatefulSet{},
			"PodDisruptionBudget": &policyv1.PodDisruptionBudget{}, "NetworkPolicy": &networkingv1.NetworkPolicy{},
			"HorizontalPodAutoscaler": &autoscalingv2.HorizontalPodAutoscaler{}, "ScaledObject": &scaledObject{},
			"Ingress": &networkingv1.Ingress{}, "CronJob": &batchv1.CronJob{},
			"PodMonitor": &podMonitor{}, "PrometheusRule": &prometheusRule{},
		}[resource.GetKind()]
		require.True(t, ok, "unknown kind %s", resource.GetKind())
		text, err := resource.AsYAML()
		require.NoError(t, err)
		require.NoError(t, yaml.UnmarshalStrict(text, object), "%s %s", resource.GetKind(), resource.GetName())
		if resource.GetKind() != "Namespace" {
			require.Equal(t, "spillway", resource.GetNamespace(), resource.GetName())
		}
		objects = append(objects, object)
	}
	return objects
}

func of[T any](objects []any) []T {
	var found []T
	for _, object := range objects {
		if one, ok := object.(T); ok {
			found = append(found, one)
		}
	}
	return found
}

func TestKubernetesManifestsAreValidAndTheirPodsRestricted(t *testing.T) {
	for _, overlay := range []string{"plain", "keda", "example", "agency"} {
		t.Run(overlay, func(t *testing.T) {
			objects := build(t, overlay)
			pods := make(map[string]corev1.PodSpec)
			for _, deployment := range of[*appsv1.Deployment](objects) {
				require.Equal(t, deployment.Spec.Selector.MatchLabels["app.kubernetes.io/name"], deployment.Spec.Template.Labels["app.kubernetes.io/name"])
				pods[deployment.Name] = deployment.Spec.Template.Spec
				scaled := deployment.Name == "ingest" || overlay == "keda"
				require.Equal(t, scaled, deployment.Spec.Replicas == nil, "who sets the replicas of %s?", deployment.Name)
			}
			for _, set := range of[*appsv1.StatefulSet](objects) {
				pods[set.Name] = set.Spec.Template.Spec
			}
			require.Len(t, pods, 3)
			jobs := of[*batchv1.CronJob](objects)
			require.Len(t, jobs, map[string]int{"example": 1, "agency": 1}[overlay])
			for _, job := range jobs {
				require.True(t, *job.Spec.Suspend)
				require.Equal(t, []string{"/spillway", "doctor"}, job.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Command)
			}
			for name, pod := range pods {
				require.InDelta(t, stopTime.Seconds(), *pod.TerminationGracePeriodSeconds, 0, name)
				require.True(t, *pod.SecurityContext.RunAsNonRoot, name)
				require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type, name)
				require.False(t, *pod.AutomountServiceAccountToken, name)
				container := pod.Containers[0]
				require.True(t, *container.SecurityContext.ReadOnlyRootFilesystem, name)
				require.False(t, *container.SecurityContext.AllowPrivilegeEscalation, name)
				require.Equal(t, []corev1.Capability{"ALL"}, container.SecurityContext.Capabilities.Drop, name)
				require.NotNil(t, container.LivenessProbe, name)
				require.NotNil(t, container.ReadinessProbe, name)
				require.NotZero(t, container.Resources.Limits.Memory().Value(), name)
				require.NotZero(t, container.Resources.Requests.Cpu().MilliValue(), name)
			}
			for _, budget := range of[*policyv1.PodDisruptionBudget](objects) {
				require.Contains(t, pods, budget.Spec.Selector.MatchLabels["app.kubernetes.io/name"])
			}
			if overlay == "plain" || overlay == "keda" {
				require.Len(t, of[*networkingv1.NetworkPolicy](objects), 5)
			}
			require.Equal(t, "ingest", of[*autoscalingv2.HorizontalPodAutoscaler](objects)[0].Spec.ScaleTargetRef.Name)
			scaling := of[*scaledObject](objects)
			require.Len(t, scaling, map[string]int{"keda": 1}[overlay])
			for _, object := range scaling {
				require.Equal(t, "worker", object.Spec.ScaleTargetRef.Name)
				require.Equal(t, `spillway_pending_contacts{state="pending"}`, object.Spec.Triggers[0].Metadata["valueLocation"])
			}
		})
	}
}

// The alerts of Kubernetes are those of the file that all others use.
func TestThePrometheusRuleHasTheAlertsOfTheRules(t *testing.T) {
	var rules any
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "prometheus/spillway.rules.yml")), &rules))
	found := of[*prometheusRule](build(t, "example"))
	require.Len(t, found, 1)
	require.Equal(t, rules, found[0].Spec, "write the groups of prometheus/spillway.rules.yml below spec of kubernetes/components/monitoring/rules.yaml")
	monitors := of[*podMonitor](build(t, "example"))
	require.Len(t, monitors, 2)
	for _, monitor := range monitors {
		require.Equal(t, "installation", monitor.Spec.PodMetricsEndpoints[0].Relabelings[0].TargetLabel)
	}
}

// The example is the image and the settings of one installation.
func TestTheExampleNamesAnImageAndItsSettings(t *testing.T) {
	objects := build(t, "example")
	for _, deployment := range of[*appsv1.Deployment](objects) {
		require.Regexp(t, `^registry\.example\.com/spillway:\d`, deployment.Spec.Template.Spec.Containers[0].Image)
		require.Equal(t, "example", deployment.Labels["app.kubernetes.io/instance"])
	}
	for _, settings := range of[*corev1.ConfigMap](objects) {
		require.NotEmpty(t, settings.Data["SPILLWAY_CRM_URL"])
		require.NotEmpty(t, settings.Data["SPILLWAY_TRUSTED_PROXIES"])
	}
	require.Len(t, of[*networkingv1.Ingress](objects), 1)
}
