{{/* Prefix of every object's name. 40 characters leave room for the suffixes that KubeRay adds. */}}
{{- define "tessera.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select a component's pods. Takes (dict "root" $ "component" "…"). */}}
{{- define "tessera.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of an object. Takes the same. */}}
{{- define "tessera.labels" -}}
{{ include "tessera.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* An image's reference. Takes (dict "root" $ "image" …). */}}
{{- define "tessera.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}

{{/* Name of the Secret with Ray's token. */}}
{{- define "tessera.raySecret" -}}
{{ .Values.auth.existingSecret | default (printf "%s-ray" (include "tessera.fullname" .)) }}
{{- end -}}

{{/* Name of the ConfigMap of the operator's files, another one for other files: the controller reads
them when it starts. */}}
{{- define "tessera.operatorFiles" -}}
{{- $files := dict "oidc" .Values.controller.oidc "limits" .Values.controller.limits -}}
{{ include "tessera.fullname" . }}-operator-{{ $files | toJson | sha256sum | trunc 8 }}
{{- end -}}

{{/* Name of the RayCluster; KubeRay calls its head's Service NAME-head-svc. */}}
{{- define "tessera.rayCluster" -}}
{{ printf "%s-%s" (include "tessera.fullname" .) .Values.pool.name | trunc 50 | trimSuffix "-" }}
{{- end -}}

{{/* The pool as the controller takes it: NAME,DASHBOARD,GCS. */}}
{{- define "tessera.pool" -}}
{{- if .Values.pool.create -}}
{{- $head := printf "%s-head-svc" (include "tessera.rayCluster" .) -}}
{{ .Values.pool.name }},http://{{ $head }}:8265,{{ $head }}:6379
{{- else -}}
{{ .Values.pool.name }},{{ required "pool.dashboardUrl is needed where pool.create is false" .Values.pool.dashboardUrl }},{{ required "pool.rayAddress is needed where pool.create is false" .Values.pool.rayAddress }}
{{- end -}}
{{- end -}}

{{/* Where the home is; the parameter shards' folder lies below it on the pool's pods too. */}}
{{- define "tessera.home" -}}/var/lib/tessera{{- end -}}

{{/* A program for the controller's pod that prints a user's token, signed with the home's key. */}}
{{- define "tessera.issue" -}}
from pathlib import Path; from tessera.rpc.identity import Issuer; from tessera.rpc.principal import Principal, Role; print(Issuer(Path("{{ include "tessera.home" . }}/keys/signing.pem").read_bytes()).issue(Principal(subject="admin", role=Role.OPERATOR)))
{{- end -}}

{{/*
The pod that every component shares: who it runs as, what it may do and where it may run. Takes
(dict "root" $ "component" "…" "account" "…" "token" bool "placement" (nodeSelector, tolerations)
"volumes" […] "container" {…} "grace" seconds). The container gets the security settings here.
*/}}
{{- define "tessera.pod" -}}
metadata:
  labels:
    {{- include "tessera.labels" . | nindent 4 }}
spec:
  serviceAccountName: {{ .account }}
  automountServiceAccountToken: {{ .token | default false }}
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .grace | default 30 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  {{- with .placement.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .placement.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - {{- toYaml .container | nindent 6 }}
      securityContext:
        allowPrivilegeEscalation: false
        # Ray writes below its own folders; the controller below its volumes only.
        readOnlyRootFilesystem: {{ eq .component "controller" }}
        capabilities:
          drop: [ALL]
  volumes:
    {{- toYaml .volumes | nindent 4 }}
{{- end -}}
