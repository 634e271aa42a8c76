//! Metrics of the process from the kernel, by the names of Prometheus's client libraries.
//!
//! `exposition.rs` reads them at a scrape. Without `/proc`, as on macOS, there are none.

use std::fs;

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

use super::{exposition::Scrape, families::Exposed};
use crate::metrics::table::{MetricRow, number, sample};

/// The kernel's numbers at a scrape.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// User and system time in seconds.
    cpu: Option<f64>,
    threads: Option<f64>,
    /// Seconds since the boot of the machine.
    start: Option<f64>,
    /// Bytes.
    virtual_memory: Option<f64>,
    /// Bytes.
    resident_memory: Option<f64>,
    /// Boot time of the machine in seconds since 1970.
    boot: Option<f64>,
    open_files: Option<f64>,
    most_files: Option<f64>,
}

impl Exposed for Process {
    const ROWS: &'static [MetricRow<Self>] = &[
        MetricRow::counter(
            "process_cpu_seconds_total",
            &[],
            "User and system CPU time, in seconds.",
            |process| sample([], process.cpu),
        ),
        MetricRow::gauge("process_threads", &[], "Threads.", |process| sample([], process.threads)),
        MetricRow::gauge("process_virtual_memory_bytes", &[], "Virtual memory size, in bytes.", |process| {
            sample([], process.virtual_memory)
        }),
        MetricRow::gauge(
            "process_resident_memory_bytes",
            &[],
            "Resident memory size, in bytes.",
            |process| sample([], process.resident_memory),
        ),
        MetricRow::gauge(
            "process_start_time_seconds",
            &[],
            "Start time of the process, in Unix seconds.",
            |process| sample([], process.boot.zip(process.start).map(|(boot, start)| boot + start)),
        ),
        MetricRow::gauge("process_open_fds", &[], "Open file descriptors.", |process| {
            sample([], process.open_files)
        }),
        MetricRow::gauge("process_max_fds", &[], "Maximum number of open file descriptors.", |process| {
            sample([], process.most_files)
        }),
    ];

    fn each(_: &Scrape, see: &mut dyn FnMut(&Self)) {
        let stat = fs::read_to_string("/proc/self/stat").ok().and_then(|text| parse(&text));
        let (open_files, most_files) = open_files();
        see(&Self {
            boot: boot_time(),
            open_files: open_files.map(number),
            most_files: most_files.map(number),
            ..stat.unwrap_or_default()
        });
    }
}

/// The number of open file descriptors, and their limit.
pub(super) fn open_files() -> (Option<u64>, Option<u64>) {
    // one of them is the directory that is being read
    let open = fs::read_dir("/proc/self/fd").ok().map(|open| open.count().saturating_sub(1) as u64);
    (open, getrlimit(Resource::Nofile).current)
}

/// Parses `/proc/self/stat` (man 5 `proc_pid_stat`).
fn parse(text: &str) -> Option<Process> {
    // the name is in parentheses and may hold any character
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    // the first field after the name is the third, the state
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let second = number(clock_ticks_per_second());
    let page = number(u64::try_from(page_size()).ok()?);
    Some(Process {
        cpu: Some((field(14)? + field(15)?) / second),
        threads: Some(field(20)?),
        start: Some(field(22)? / second),
        virtual_memory: Some(field(23)?),
        resident_memory: Some(field(24)? * page),
        ..Process::default()
    })
}

/// Boot time of the machine in seconds since 1970.
fn boot_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_moves_no_field() {
        let rest = "S 1 1 1 0 -1 0 1 1 1 1 200 100 0 0 20 0 7 0 300 4096 2 0";
        for name in ["a", "a b) (c"] {
            let stat = parse(&format!("12 ({name}) {rest}")).unwrap();
            let second = number(clock_ticks_per_second());
            assert!((stat.cpu.unwrap() - 300.0 / second).abs() < 1e-9);
            assert_eq!((stat.threads, stat.virtual_memory), (Some(7.0), Some(4096.0)));
        }
        assert!(parse("12 (a) S 1").is_none() && parse("").is_none());
    }
}
