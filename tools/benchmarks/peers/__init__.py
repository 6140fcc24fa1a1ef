"""What the project is compared with, each written for throughput as its authors would."""
