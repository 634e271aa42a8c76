//! The operating system: files, sockets, the clock, the terminal, threads and their supervision.

pub(crate) mod detached;
pub(crate) mod exhausted;
pub(crate) mod fault_points;
pub(crate) mod file_stamps;
pub(crate) mod lazy_deadline;
pub(crate) mod regular_file;
pub(crate) mod service_manager;
pub(crate) mod supervision;
pub(crate) mod tcp_keepalive;
pub(crate) mod terminal;
pub(crate) mod wall_clock;
