//! A terminal without a screen: commands behave on it as they do before a person.

use std::fs::{File, OpenOptions};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Makes one: what is written to its second half can be read from its first, until nobody holds the second half.
pub fn terminal() -> (File, File) {
    let first = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&first).expect("it is ours");
    unlockpt(&first).expect("it can be opened");
    let name = ptsname(&first, Vec::new()).expect("it has a name").into_string().expect("in ASCII");
    (first.into(), OpenOptions::new().read(true).write(true).open(name).expect("its second half"))
}
