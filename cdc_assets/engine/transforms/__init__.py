"""Transforms: what a pipeline file says about a table's columns and rows, done to Arrow batches.

In: rules of a pipeline file and a table's schema. Out: `compile_masks` for capture and copy, before
anything is stored, and `compile_transform` for what is read from the change log. `rule.py` has the
words, `docs/expressions.md` the language of expressions. Nothing here knows Dagster; DuckDB and
sqlglot are imported only once a rule with an expression is compiled.
"""
