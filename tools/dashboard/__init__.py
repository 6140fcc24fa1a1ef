"""The sample dashboard with data: sample orders, Prometheus, Grafana."""
