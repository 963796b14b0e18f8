//! Documents: files in with the fate of each, the list, chunks, deletion, collections.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{
    browser::Tab,
    site::{Line, Shape, Site},
};

/// Files on the desk of the person before the page, by their paths below it.
fn desk(files: &[(&str, &str)]) -> tempfile::TempDir {
    let desk = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = desk.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it is below the desk")).expect("a folder");
        std::fs::write(path, text).expect("it can be written");
    }
    desk
}

const BERTHS: [(&str, &str); 5] = [
    ("harbour/berths/north.md", "# North\n\nShips of the northern line moor at the berth with the green lamp.\n"),
    ("harbour/berths/deep/south.txt", "Ships of the southern line moor at the berth with the white lamp."),
    ("harbour/pilots.html", "<h1>Pilots</h1><p>The pilot boards at the outer buoy.</p>"),
    ("harbour/.notes/private.md", "Nobody is to read this."),
    ("harbour/.DS_Store", "no document at all"),
];

/// A folder's files are there under their paths, and what is hidden in it is not.
async fn the_harbour_is_taken_in(tab: &Tab) {
    tab.says("3 files taken in").await;
    let names = "[...document.querySelectorAll('.upload .name')].map((e) => e.innerText).sort().join()";
    let expected = "harbour/berths/deep/south.txt,harbour/berths/north.md,harbour/pilots.html";
    tab.until(&format!("{names} === {}", json!(expected))).await;
    tab.click("link", "Ask about them").await;
    tab.ask("Where do ships of the southern line moor?").await;
    tab.says("the berth with the white lamp").await;
}

fn all(paths: &[&str], desk: &Path) -> Vec<PathBuf> {
    paths.iter().map(|path| desk.join(path)).collect()
}

#[tokio::test]
async fn a_folder_that_is_dropped_is_taken_in_with_all_that_is_below_it() {
    let (site, desk) = (Site::start().await, desk(&BERTHS));
    let tab = site.open("#/documents").await;
    tab.drop_files(".drop", &all(&["harbour"], desk.path())).await;
    the_harbour_is_taken_in(&tab).await;
    tab.finish();
}

#[tokio::test]
async fn a_folder_that_is_chosen_is_taken_in_with_all_that_is_below_it() {
    let (site, desk) = (Site::start().await, desk(&BERTHS));
    let tab = site.open("#/documents").await;
    tab.choose("Choose a folder", &all(&["harbour"], desk.path())).await;
    the_harbour_is_taken_in(&tab).await;
    tab.finish();
}

#[tokio::test]
async fn files_are_chosen_in_the_dialog_and_again_once_they_are_in() {
    let (site, desk) = (Site::start().await, desk(&BERTHS));
    let tab = site.open("#/documents").await;
    let files = all(&["harbour/berths/north.md", "harbour/pilots.html"], desk.path());
    tab.choose("Choose files", &files).await;
    tab.says("2 files taken in").await;
    // The same files once more are an event of their own, and known to be the same.
    tab.choose("Choose files", &files).await;
    tab.says("4 files taken in").await;
    tab.until(
        "[...document.querySelectorAll('.upload')].filter((e) => e.innerText.includes('Unchanged')).length === 2",
    )
    .await;
    tab.until("document.querySelectorAll('tbody tr').length === 2").await;
    tab.finish();
}

/// Drops files on the page as a hand would: names with contents.
async fn drop_files(tab: &Tab, place: &str, files: &[(String, &str)]) {
    tab.until(&format!("document.querySelector({})", json!(place))).await;
    let dropping = format!(
        "(() => {{ const transfer = new DataTransfer();
           for (const [name, text] of {}) transfer.items.add(new File([text], name));
           const event = (type) => new DragEvent(type, {{ dataTransfer: transfer, bubbles: true, cancelable: true }});
           const place = document.querySelector({});
           for (const type of ['dragover', 'drop']) place.dispatchEvent(event(type)); }})()",
        json!(files),
        json!(place)
    );
    tab.eval(&dropping).await;
}

#[tokio::test]
async fn of_fifty_files_three_bad_ones_are_named_with_their_reason_and_the_rest_can_be_asked() {
    let site = Site::start().await;
    let tab = site.open("#/documents").await;
    tab.says("No documents yet").await;
    let text = "# Berth\n\nShips of the northern line moor at the berth with the green lamp.\n";
    let mut files: Vec<_> = (0..47).map(|n| (format!("berth-{n}.md"), text)).collect();
    files.insert(3, ("tool.exe".into(), "MZ"));
    files.insert(17, ("empty.txt".into(), ""));
    files.insert(40, ("scan.pdf".into(), "%PDF-1.7 and then nothing of a PDF"));
    drop_files(&tab, ".drop", &files).await;
    tab.says("47 files taken in, 3 failed").await;
    let failed = tab.eval("[...document.querySelectorAll('.upload:has(.why)')].map((e) => e.innerText)").await;
    let failed: Vec<&str> = failed.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    for (name, why) in [
        ("tool.exe", "Files of this type are not read"),
        ("empty.txt", "The file is empty"),
        ("scan.pdf", "Get a whole copy"),
    ] {
        assert!(failed.iter().any(|text| text.contains(name) && text.contains(why)), "{name}: {failed:?}");
    }
    // A file without anything in it is no scan.
    assert!(!failed.iter().any(|text| text.contains("empty.txt") && text.contains("recognition")), "{failed:?}");
    tab.until("document.querySelectorAll('tbody tr').length >= 47").await;
    drop_files(&tab, ".drop", &[("late.md".into(), "The lamp is lit at dusk.")]).await;
    tab.says("48 files taken in, 3 failed").await;
    // Below the failures the newest result.
    let names = "[...document.querySelectorAll('.upload .name')].slice(0, 4).map((e) => e.innerText)";
    let first = tab.eval(names).await;
    assert_eq!((&first[3], first.as_array().unwrap().iter().any(|name| name == "tool.exe")), (&json!("late.md"), true));
    tab.click("button", "Clear the list").await;
    tab.until("!document.querySelector('.upload')").await;
    tab.click("link", "Ask").await;
    tab.ask("Where do ships of the northern line moor?").await;
    tab.says("the berth with the green lamp").await;
    tab.finish();
}

#[tokio::test]
async fn a_document_shows_its_chunks_and_text_and_goes_when_it_is_deleted() {
    let site = Site::start().await;
    let part = |n| format!("## Part {n}\n\nThe pilot boards at buoy {n}. {}\n\n", "Mind the current. ".repeat(20));
    let parts: Vec<_> = (0..40).map(part).collect();
    site.put("pilot", "Pilotage", &format!("# Pilotage\n\n{}", parts.concat())).await;
    site.put("other", "Mooring", "Two lines fore and two lines aft.").await;
    let tab = site.open("#/documents").await;
    tab.click("link", "Pilotage").await;
    tab.says("The pilot boards at buoy 0.").await;
    tab.says("bytes 0 to").await;
    tab.click("button", "Text").await;
    tab.says("# Pilotage").await;
    tab.click("button", "Delete").await;
    tab.says("Delete this document?").await;
    tab.click("button", "Delete").await;
    tab.until("location.hash === '#/documents'").await;
    tab.says("Mooring").await;
    tab.silent("Pilotage").await;
    tab.finish();
}

#[tokio::test]
async fn a_file_that_is_too_large_is_named_and_not_sent() {
    let site = Site::start_with(Shape::Embedded, None, &[("RAGQ_API__MAX_BODY_BYTES", "1048576")]).await;
    let tab = site.open("#/documents").await;
    let text = "Mind the current. ".repeat(60_000);
    drop_files(&tab, ".drop", &[("tides.md".into(), &text), ("lamp.md".into(), "The lamp is lit at dusk.")]).await;
    tab.says("1 file taken in, 1 failed").await;
    tab.says("Larger than 1 MiB: split it.").await;
    assert_eq!(tab.requests().iter().filter(|url| url.ends_with("/documents")).count(), 1);
    tab.finish();
}

#[tokio::test]
async fn the_newest_document_comes_first_and_the_focus_stays_in_the_list_when_one_is_deleted() {
    let site = Site::start().await;
    for (id, title) in [("m", "Mooring"), ("a", "Anchoring"), ("z", "Towing")] {
        site.put(id, title, &format!("{title} is done at slack water.")).await;
    }
    let tab = site.open("#/documents").await;
    let titles = "[...document.querySelectorAll('[data-id]')].map((e) => e.innerText).join()";
    tab.until(&format!("{titles} === 'Towing,Anchoring,Mooring'")).await;
    tab.click("button", "Delete Anchoring").await;
    tab.says("Delete this document?").await;
    tab.click("button", "Delete").await;
    tab.until(&format!("{titles} === 'Towing,Mooring'")).await;
    tab.until("document.activeElement.innerText === 'Mooring'").await;
    tab.finish();
}

#[tokio::test]
async fn a_file_goes_into_the_collection_that_was_named_and_only_there_it_is_found() {
    let site = Site::start().await;
    site.put("other", "Mooring", "Two lines fore and two lines aft.").await;
    let tab = site.open("#/documents").await;
    tab.fill("into", "harbour").await;
    drop_files(&tab, ".drop", &[("lamp.md".into(), "The lamp of the harbour office is lit at dusk.")]).await;
    tab.says("1 file taken in").await;
    tab.click("button", "harbour").await;
    tab.until("document.querySelectorAll('tbody tr').length === 1").await;
    tab.click("link", "Ask").await;
    tab.until("document.querySelector('#collection option[value=harbour]')").await;
    tab.eval("(() => { const s = document.querySelector('#collection'); s.value = 'harbour'; s.dispatchEvent(new Event('change', { bubbles: true })); })()").await;
    tab.ask("When is the lamp lit?").await;
    tab.says("in harbour").await;
    tab.says("is lit at dusk").await;
    tab.finish();
}

#[tokio::test]
async fn a_view_that_was_opened_while_the_server_was_away_comes_when_it_is_back() {
    let site = Site::start().await;
    let line = Line::to(&site.url).await;
    let tab = site.browser.open(&line.url).await;
    tab.says("There are no documents yet").await;
    line.cut();
    tab.click("link", "Documents").await;
    tab.says("This part of the page could not be loaded").await;
    line.mend();
    tab.says("Drop files or folders here").await;
    tab.silent("could not be loaded").await;
    tab.finish();
}

#[tokio::test]
async fn files_dropped_beside_the_field_for_them_are_taken_in_as_well() {
    let site = Site::start().await;
    let tab = site.open("").await;
    drop_files(&tab, ".thread", &[("lamp.md".into(), "The lamp of the harbour office is lit at dusk.")]).await;
    tab.says("1 file taken in").await;
    tab.until("location.hash === '#/documents'").await;
    tab.finish();
}
