"""What a run found, and what is said of it: its folder, table, ranking, history and report;
nothing here measures or trains.
"""
