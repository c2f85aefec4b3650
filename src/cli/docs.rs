//! docs/options.md, made from the table of options.
