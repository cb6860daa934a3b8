// Package httpd serves what operators look at over HTTP: /metrics for Prometheus, /healthz (the process runs) and
// /readyz (what it needs is there, one line for each check). It serves nothing else and changes nothing.
package httpd
