"""The formats: each takes a Report, or a RowStream, and writes it to a Terminal."""
