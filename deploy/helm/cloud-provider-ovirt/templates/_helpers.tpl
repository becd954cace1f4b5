{{/* One controller a cluster, so its name is fixed: the Lease's. */}}
{{- define "cloud-provider-ovirt.name" -}}
ovirt-cloud-controller-manager
{{- end }}

{{- define "cloud-provider-ovirt.selector" -}}
app.kubernetes.io/name: cloud-provider-ovirt
{{- end }}

{{- define "cloud-provider-ovirt.labels" -}}
{{ include "cloud-provider-ovirt.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "cloud-provider-ovirt.metadata" -}}
name: {{ include "cloud-provider-ovirt.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "cloud-provider-ovirt.labels" . | nindent 2 }}
{{- end }}

{{/* The configuration file, with the places that its files have in the pod. */}}
{{- define "cloud-provider-ovirt.config" -}}
{{- $config := deepCopy .Values.config }}
{{- range $config.engines }}
{{- if not (hasKey . "password_file") }}
{{- $_ := set . "password_file" "/etc/ovirt-ccm/password" }}
{{- end }}
{{- if not (or (hasKey . "ca_file") .insecure (and $.Values.password (not $.Values.ca))) }}
{{- $_ := set . "ca_file" "/etc/ovirt-ccm/ca.pem" }}
{{- end }}
{{- end }}
{{- if .Values.certificateSecret }}
{{- $files := dict "certificate_file" "/etc/ovirt-ccm/tls.crt" "key_file" "/etc/ovirt-ccm/tls.key" }}
{{- $_ := set $config "server" (merge (default dict $config.server) $files) }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* Where it listens: server.bind, or what the controller takes without it. */}}
{{- define "cloud-provider-ovirt.bind" -}}
{{- dig "server" "bind" "[::]:10258" .Values.config }}
{{- end }}

{{- define "cloud-provider-ovirt.port" -}}
{{- include "cloud-provider-ovirt.bind" . | regexFind "[0-9]+$" }}
{{- end }}

{{/* The address for the probes: loopback, as a node that is not initialised may have no other. */}}
{{- define "cloud-provider-ovirt.probe-host" -}}
{{- $host := include "cloud-provider-ovirt.bind" . | regexFind "^.*:" | trimSuffix ":" | trimAll "[]" }}
{{- if has $host (list "::" "0.0.0.0") }}127.0.0.1{{ else }}{{ $host }}{{ end }}
{{- end }}

{{- define "cloud-provider-ovirt.secret-name" -}}
{{- .Values.existingSecret | default "ovirt-ccm" }}
{{- end }}

{{- define "cloud-provider-ovirt.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The objects of a file, in the release's namespace and with its labels. What is about the Lease (Role
and RoleBinding) stays in kube-system; those whom a binding names move.
*/}}
{{- define "cloud-provider-ovirt.objects" -}}
{{- $root := index . 0 }}
{{- $labels := include "cloud-provider-ovirt.labels" $root | fromYaml }}
{{- range splitList "\n---\n" ($root.Files.Get (index . 1)) }}
{{- $object := fromYaml . }}
{{- $metadata := $object.metadata }}
{{- if and $metadata.namespace (not (has $object.kind (list "Role" "RoleBinding"))) }}
{{- $_ := set $metadata "namespace" $root.Release.Namespace }}
{{- end }}
{{- $_ := set $metadata "labels" (merge (default dict $metadata.labels) $labels) }}
{{- range $object.subjects }}
{{- $_ := set . "namespace" $root.Release.Namespace }}
{{- end }}
---
{{ toYaml $object }}
{{ end }}
{{- end }}
