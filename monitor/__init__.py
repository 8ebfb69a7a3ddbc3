"""What happens here, counted: for the Monitor tab, for Prometheus, for programs."""
