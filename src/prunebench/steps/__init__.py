"""How one step runs: in a child process, once per key, with its events; not what any step does."""
