"""A measured bill: what each of people's operations uses of AWS, counted on the local cloud."""
