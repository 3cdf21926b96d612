//! The files that `sockeye check` reads and writes.

use std::{
    fs::{self, OpenOptions},
    path::Path,
};

use anyhow::{Context as _, anyhow};
use sockeye_check::{Baseline, Report};

use super::Check;

impl Check {
    pub(super) fn read_baseline(&self) -> anyhow::Result<Baseline> {
        let Some(path) = &self.baseline else { return Ok(Baseline::default()) };
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read the baseline {}", path.display()))?;
        Baseline::parse(&text).map_err(|wrong| anyhow!("{}: {wrong}", path.display()))
    }

    /// Whether the files can be written: after the check it would be too late to say.
    pub(super) fn try_files(&self) -> anyhow::Result<()> {
        [&self.junit, &self.html, &self.write_baseline].into_iter().flatten().try_for_each(|path| {
            let is_new = !path.exists();
            let opened = OpenOptions::new().append(true).create(true).open(path);
            opened.with_context(|| format!("cannot write {}", path.display()))?;
            if is_new {
                // A check that finds no server leaves no empty report.
                let _ = fs::remove_file(path);
            }
            Ok(())
        })
    }

    pub(super) fn write_files(&self, peer: &str, report: &Report) -> anyhow::Result<()> {
        if let Some(path) = &self.junit {
            write(path, &report.to_junit(peer))?;
        }
        if let Some(path) = &self.html {
            write(path, &report.to_html(peer))?;
        }
        if let Some(path) = &self.write_baseline {
            write(path, &Baseline::of(report).to_text())?;
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
