"""Exported graphs rewritten into ones that compute the same in less time.

Each pass is a module of its own: where it applies, why it is faster and what it was measured to
give (yolov8n and yolo11n, unpruned and pruned to 0.4 of their time, 96x160 and 192x320, one thread,
AVX-512). ``apply`` runs them all; ``editing`` holds the graph that they edit.
"""
