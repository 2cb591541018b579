"""What models are compared on: data, labels, metric and the published setting of each task."""
