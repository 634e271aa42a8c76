//! The operating system under the program: files, sockets, the clock, the terminal, threads and their supervision.

pub mod detached;
pub mod exhausted;
pub mod fault_points;
pub mod regular_file;
pub mod supervision;
pub mod tcp_keepalive;
pub mod terminal;
pub mod wall_clock;
