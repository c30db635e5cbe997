"""Hydra configuration files of treereason, found as pkg://treereason.conf."""
