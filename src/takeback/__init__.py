"""See what a fine-tune changed inside a model, and take it back."""
