"""A bill that is measured: what each thing that people do asks of AWS, counted on the local cloud."""
