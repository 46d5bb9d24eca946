//! The command line, in one program.

mod c;
mod commands;
mod common;
mod exchange;
mod learning;
mod source;
