{{- define "apigw-invoker.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /*
The name of the objects: the release, with the chart's name if the release's does not contain it. A Service's name has no
dots and at most 63 characters.
*/ -}}
{{- define "apigw-invoker.fullname" -}}
{{- $name := include "apigw-invoker.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | replace "." "-" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "apigw-invoker.selector" -}}
app.kubernetes.io/name: {{ include "apigw-invoker.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
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
