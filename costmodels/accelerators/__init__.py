"""The accelerators that come with the package, a TOML file each. The format: ``docs/accelerator-files.md``."""
