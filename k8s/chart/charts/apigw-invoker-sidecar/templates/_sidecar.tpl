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
{{- with fromYaml (include "apigw-invoker.podAnnotations" .) -}}
{{- $_ := set $metadata "annotations" (merge . (default dict $metadata.annotations)) -}}
{{- end -}}
{{- $spec := deepCopy (required "the pod template for apigw-invoker has no spec" $template.spec) -}}
{{- if $spec.hostNetwork -}}
{{- fail "the pod template has hostNetwork: the ports of apigw-invoker would be the node's" -}}
{{- end -}}
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

{{- /*
Annotations that change with the settings which need a restart, so that `helm upgrade` replaces the pods: `listen`, `admin`,
`workers` and `log.format`. There are none for the settings of values.yaml.
*/ -}}
{{- define "apigw-invoker.podAnnotations" -}}
{{- $settings := fromYaml (include "apigw-invoker.text" .values.settings) -}}
{{- $restart := pick $settings "listen" "admin" "workers" -}}
{{- $log := kindIs "map" $settings.log | ternary $settings.log dict -}}
{{- if ne (toString $log.format) "json" -}}{{- $_ := set $restart "format" $log.format -}}{{- end -}}
{{- if and $restart (not .values.settingsSource) -}}
apigw-invoker/restart: {{ toYaml $restart | sha256sum | quote }}
{{- end -}}
{{- end -}}

{{- /* The image of this chart's version. */ -}}
{{- define "apigw-invoker.version" -}}
0.1.0
{{- end -}}

{{- define "apigw-invoker.image" -}}
{{- printf "%s:%s" .values.image.repository (default (include "apigw-invoker.version" .) .values.image.tag) -}}
{{- end -}}

{{- /*
The variables of the container. The admin address is set here and not in the settings, because the probes depend on it.
*/ -}}
{{- define "apigw-invoker.env" -}}
{{- $address := printf "[::]:%s" (include "apigw-invoker.adminPort" .) -}}
{{- $env := list (dict "name" "APIGW_INVOKER__ADMIN__ADDRESS" "value" $address) -}}
{{- with .values.settingsSource -}}
{{- $env = append $env (merge (dict "name" "APIGW_INVOKER_SETTINGS") .) -}}
{{- $env = append $env (dict "name" "APIGW_INVOKER_SETTINGS_CACHE" "value" "/var/cache/apigw-invoker") -}}
{{- end -}}
{{- $env = concat $env (default list .env) -}}
{{- $own := list -}}
{{- range $env -}}{{- $own = append $own .name -}}{{- end -}}
{{- $env = concat $env (default list .values.env) -}}
{{- $names := list -}}
{{- range $env -}}
{{- if has (upper .name) $names -}}
{{- fail (printf "env: %s is set by the chart, or twice" .name) -}}
{{- end -}}
{{- $names = append $names (upper .name) -}}
{{- end -}}
{{- /* the environment overrides the settings */ -}}
{{- $settings := fromYaml (include "apigw-invoker.text" .values.settings) -}}
{{- range $section, $keys := $settings -}}
{{- if kindIs "map" $keys -}}
{{- range $key, $_ := $keys -}}
{{- $variable := printf "APIGW_INVOKER__%s__%s" $section $key | upper -}}
{{- if has $variable $own -}}
{{- fail (printf "settings: %s.%s has no effect, because the chart sets %s" $section $key $variable) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $env -}}
{{- end -}}

{{- define "apigw-invoker.adminPort" -}}
{{- default 9180 .values.adminPort | int -}}
{{- end -}}

{{- /* The container; `env` and `ports` add to it. */ -}}
{{- define "apigw-invoker.container" -}}
name: apigw-invoker
image: {{ include "apigw-invoker.image" . | quote }}
{{- with .values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
env:
  {{- include "apigw-invoker.env" . | nindent 2 }}
ports:
  - name: invoker-admin
    containerPort: {{ include "apigw-invoker.adminPort" . }}
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
  {{- if .values.settingsSource }}
  - name: apigw-invoker-cache
    mountPath: /var/cache/apigw-invoker
  {{- else }}
  - name: apigw-invoker
    mountPath: /etc/apigw-invoker
    readOnly: true
  - name: apigw-invoker-routes
    mountPath: /etc/apigw-invoker/routes
    readOnly: true
  {{- end }}
  - name: apigw-invoker-keys
    mountPath: /var/run/secrets/apigw-invoker
    readOnly: true
  {{- with .values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "apigw-invoker.volumes" -}}
{{- if .values.settingsSource -}}
- name: apigw-invoker-cache
  emptyDir: {}
{{- else -}}
- name: apigw-invoker
  configMap:
    name: {{ .name | quote }}
- name: apigw-invoker-routes
  configMap:
    name: {{ default (printf "%s-routes" .name) .values.routesConfigMap | quote }}
{{- end }}
- name: apigw-invoker-keys
  secret:
    secretName: {{ .values.keysSecret | quote }}
    optional: true
{{- with .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The ConfigMaps of the settings and of the routes, none with a settings source. `labels` are their labels. */ -}}
{{- define "apigw-invoker.configMaps" -}}
{{- if .values.settingsSource -}}
{{- if or .values.routes .values.routesConfigMap -}}
{{- fail "settingsSource has the routes: leave out `routes` and `routesConfigMap`" -}}
{{- end -}}
{{- if and .values.settings (ne (include "apigw-invoker.text" .values.settings | trim) "log:\n  format: json") -}}
{{- fail "settingsSource has the settings: leave out `settings`" -}}
{{- end -}}
{{- else -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name | quote }}
  {{- with .labels }}
  labels:
    {{- toYaml . | nindent 4 }}
  {{- end }}
data:
  {{- toYaml (dict "default.yaml" (include "apigw-invoker.text" .values.settings)) | nindent 2 }}
{{- if and .values.routes .values.routesConfigMap }}
{{- fail "routesConfigMap has the routes: leave out `routes`" }}
{{- end }}
{{- if not .values.routesConfigMap }}
{{- if not .values.routes }}{{ fail "there is no route: set `routes`, `routesConfigMap` or `settingsSource`" }}{{ end }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ printf "%s-routes" .name | quote }}
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
{{- end -}}

{{- /* A file: its text as it is, or a table as YAML. */ -}}
{{- define "apigw-invoker.text" -}}
{{- if kindIs "string" . -}}{{ . }}{{- else -}}{{ toYaml . }}{{- end -}}
{{- end -}}
