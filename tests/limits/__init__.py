"""Nothing that one person does makes an answer too large for another."""
