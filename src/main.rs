//! The binary: runs the library's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    apigw_invoker::main()
}
