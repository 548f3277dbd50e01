"""Networks that compute with integers and shifts alone: made from a trained one, run, checked and written down."""
