"""A run at work: keys copied and changed, batch by batch, from any interruption on."""
