"""Which pruned YOLO do I ship on this CPU, and is the difference real?"""
