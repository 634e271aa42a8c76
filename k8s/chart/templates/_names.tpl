{{- define "apigw-invoker.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimAll "-" -}}
{{- end -}}

{{- /*
The name of the objects: the release, with the chart's name if the release's does not contain it. A Service's name has no
dots and at most 63 characters, and before Kubernetes 1.37 it begins with a letter (KEP 5311).
*/ -}}
{{- define "apigw-invoker.fullname" -}}
{{- $name := include "apigw-invoker.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full = default $full .Values.fullnameOverride | replace "." "-" | trunc 63 | trimAll "-" -}}
{{- if and (regexMatch "^[0-9]" $full) (semverCompare "<1.37.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "the Service %s would begin with a digit, which needs Kubernetes 1.37: set fullnameOverride" $full) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{- define "apigw-invoker.selector" -}}
app.kubernetes.io/name: {{ include "apigw-invoker.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "apigw-invoker.labels" -}}
{{ include "apigw-invoker.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "apigw-invoker.serviceAccount" -}}
{{- $default := ternary (include "apigw-invoker.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $default .Values.serviceAccount.name -}}
{{- end -}}
