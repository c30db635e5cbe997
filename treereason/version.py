"""The version of the package; CHANGELOG.md says what each one changed."""

__version__ = "0.1.0"
