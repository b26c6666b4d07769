"""Experiments: tables of runs that differ in some arguments, over several seeds."""
