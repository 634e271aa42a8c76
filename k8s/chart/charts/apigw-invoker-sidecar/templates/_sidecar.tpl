{{- /*
The container, its volumes and its ConfigMaps, as k8s/sidecar has them; `.ci/k8s/run` compares the two.

Every template takes a table: `values` are values such as those of this chart's values.yaml, and `name` is the beginning of
the names of the ConfigMaps.
*/ -}}

{{- /*
The template of a pod, with the sidecar as its first init container. `template` is the pod template as a text or a table:

  template:
    {{- include "apigw-invoker.sidecar" (dict "values" … "name" … "template" (include "shop.pod" $)) | nindent 4 }}
*/ -}}
{{- define "apigw-invoker.sidecar" -}}
{{- $template := deepCopy .template -}}
{{- if kindIs "string" .template -}}
{{- $template = fromYaml .template -}}
{{- with $template.Error -}}{{- fail (printf "the pod template for apigw-invoker: %s" .) -}}{{- end -}}
{{- end -}}
{{- $metadata := deepCopy (default dict $template.metadata) -}}
{{- $labels := merge (fromYaml (include "apigw-invoker.podLabels" .)) (default dict $metadata.labels) -}}
{{- $_ := set $metadata "labels" $labels -}}
{{- $spec := deepCopy (required "the pod template for apigw-invoker has no spec" $template.spec) -}}
{{- $sidecar := merge (dict "restartPolicy" "Always") (fromYaml (include "apigw-invoker.container" .)) -}}
{{- range concat (default list $spec.initContainers) (default list $spec.containers) -}}
{{- if eq .name $sidecar.name -}}{{- fail "the pod template has a container apigw-invoker already" -}}{{- end -}}
{{- end -}}
{{- $_ := set $spec "initContainers" (prepend (default list $spec.initContainers) $sidecar) -}}
{{- $_ := set $spec "volumes" (concat (default list $spec.volumes) (fromYamlArray (include "apigw-invoker.volumes" .))) -}}
{{- toYaml (merge (dict "metadata" $metadata "spec" $spec) $template) -}}
{{- end -}}

{{- /* The label by which k8s/network and k8s/monitoring select pods. */ -}}
{{- define "apigw-invoker.podLabels" -}}
apigw-invoker: "true"
{{- end -}}

{{- /* The image of this chart's version. */ -}}
{{- define "apigw-invoker.version" -}}
0.1.0
{{- end -}}

{{- define "apigw-invoker.image" -}}
{{- printf "%s:%s" .values.image.repository (default (include "apigw-invoker.version" .) .values.image.tag) -}}
{{- end -}}

{{- /* The container; `env` and `ports` add to it. */ -}}
{{- define "apigw-invoker.container" -}}
name: apigw-invoker
image: {{ include "apigw-invoker.image" . | quote }}
{{- with .values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
env:
  # set here and not in the settings, because the probes below depend on it
  - name: APIGW_INVOKER__ADMIN__ADDRESS
    value: "[::]:9180"
  {{- with concat (default list .env) .values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: invoker-admin
    containerPort: 9180
  {{- with .ports }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
startupProbe:
  httpGet: { path: /ready, port: invoker-admin }
  periodSeconds: 1
  failureThreshold: 120
readinessProbe:
  httpGet: { path: /ready, port: invoker-admin }
  periodSeconds: 5
livenessProbe:
  httpGet: { path: /live, port: invoker-admin }
  periodSeconds: 10
resources:
  {{- toYaml .values.resources | nindent 2 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  privileged: false
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
  seccompProfile:
    type: RuntimeDefault
volumeMounts:
  - name: apigw-invoker
    mountPath: /etc/apigw-invoker
    readOnly: true
  - name: apigw-invoker-routes
    mountPath: /etc/apigw-invoker/routes
    readOnly: true
  - name: apigw-invoker-keys
    mountPath: /var/run/secrets/apigw-invoker
    readOnly: true
  {{- with .values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "apigw-invoker.volumes" -}}
- name: apigw-invoker
  configMap:
    name: {{ .name }}
- name: apigw-invoker-routes
  configMap:
    name: {{ default (printf "%s-routes" .name) .values.routesConfigMap }}
- name: apigw-invoker-keys
  secret:
    secretName: {{ .values.keysSecret }}
    optional: true
{{- with .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The ConfigMaps of the settings and of the routes. `labels` are their labels. */ -}}
{{- define "apigw-invoker.configMaps" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}
  {{- with .labels }}
  labels:
    {{- toYaml . | nindent 4 }}
  {{- end }}
data:
  {{- toYaml (dict "default.yaml" (include "apigw-invoker.text" .values.settings)) | nindent 2 }}
{{- if not .values.routesConfigMap }}
{{- if not .values.routes }}{{ fail "there is no route: set `routes` or `routesConfigMap`" }}{{ end }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}-routes
  {{- with .labels }}
  labels:
    {{- toYaml . | nindent 4 }}
  {{- end }}
data:
  {{- range $route, $settings := .values.routes }}
  {{- toYaml (dict (printf "%s.yaml" $route) (include "apigw-invoker.text" $settings)) | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- /* A file: its text as it is, or a table as YAML. */ -}}
{{- define "apigw-invoker.text" -}}
{{- if kindIs "string" . -}}{{ . }}{{- else -}}{{ toYaml . }}{{- end -}}
{{- end -}}
