"""The one place the version is written down: the package, its metadata and the reports read it."""

__version__ = "0.1.0"
