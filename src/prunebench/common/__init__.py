"""What every package needs whatever this product's subject: errors, records, files, statistics."""
