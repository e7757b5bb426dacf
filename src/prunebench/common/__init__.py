"""What every room needs and knows nothing of this product's subject: errors, records, files,
statistics, words; nothing here that imports another room.
"""
