//! Server-sent events out of bytes: linear, bounded, indifferent to where TCP cut them.
//!
//! Ours because the parser that comes with async-openai scans its whole buffer again at every chunk, which
//! grows with the square of a frame's size, and holds as much as the provider cares to send.
//! By the [specification](https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream):
//! lines end in LF, CRLF or CR; `data` lines are joined by LF; comments and unknown fields are skipped.

use std::mem;

use bytes::{Buf, BytesMut};

/// The largest frame that is taken; one token is never near it.
pub(super) const MAX_FRAME: usize = 16 * 1024 * 1024;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its data: UTF-8 if the provider is sane.
    pub(super) data: Vec<u8>,
    /// Whether its `event` field says `error`.
    pub(super) error: bool,
}

/// A frame grew beyond [`MAX_FRAME`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Collects bytes and gives frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: BytesMut,
    /// So many of `bytes` hold no line end.
    scanned: usize,
    /// The last line ended in CR: an LF that follows belongs to it.
    after_cr: bool,
    data: Option<Vec<u8>>,
    error: bool,
}

impl Frames {
    /// Takes what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame of what came so far.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, TooLarge> {
        loop {
            if self.after_cr && !self.bytes.is_empty() {
                if self.bytes.first() == Some(&b'\n') {
                    self.bytes.advance(1);
                }
                self.after_cr = false;
            }
            let Some(end) = self.bytes.iter().skip(self.scanned).position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.scanned = self.bytes.len();
                return if self.scanned + self.data.as_ref().map_or(0, Vec::len) > MAX_FRAME {
                    Err(TooLarge)
                } else {
                    Ok(None)
                };
            };
            let line = self.bytes.split_to(self.scanned + end);
            self.scanned = 0;
            self.after_cr = self.bytes.first() == Some(&b'\r');
            self.bytes.advance(1);
            if line.is_empty() {
                if let Some(frame) = self.dispatch() {
                    return Ok(Some(frame));
                }
            } else {
                self.line(&line)?;
            }
        }
    }

    /// What is left when nothing more comes: servers forget the last empty line, or the last line's end.
    pub(super) fn rest(&mut self) -> Result<Option<Frame>, TooLarge> {
        let line = mem::take(&mut self.bytes);
        self.scanned = 0;
        self.line(&line)?;
        Ok(self.dispatch())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), TooLarge> {
        // A byte order mark can only stand at the very beginning; nothing sane starts a field with it later.
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => match &mut self.data {
                None => self.data = Some(value.to_vec()),
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            },
            b"event" => self.error = value == b"error",
            _ => {}
        }
        if self.data.as_ref().is_some_and(|data| data.len() > MAX_FRAME) { Err(TooLarge) } else { Ok(()) }
    }

    fn dispatch(&mut self) -> Option<Frame> {
        let error = mem::take(&mut self.error);
        self.data.take().filter(|data| !data.is_empty()).map(|data| Frame { data, error })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(chunks: &[&[u8]]) -> Vec<String> {
        let mut frames = Frames::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            frames.push(chunk);
            while let Some(frame) = frames.next().unwrap() {
                seen.push(String::from_utf8(frame.data).unwrap());
            }
        }
        seen.extend(frames.rest().unwrap().map(|frame| String::from_utf8(frame.data).unwrap()));
        seen
    }

    #[test]
    fn lines_end_in_lf_crlf_or_cr() {
        for end in ["\n", "\r\n", "\r"] {
            let stream =
                format!("data: a{end}{end}: note{end}data:b{end}data: c{end}{end}id: 7{end}{end}data: d{end}{end}");
            assert_eq!(read(&[stream.as_bytes()]), ["a", "b\nc", "d"], "{end:?}");
        }
    }

    #[test]
    fn the_last_frame_may_lack_its_end() {
        assert_eq!(read(&[b"data: a\n\ndata: [DONE]"]), ["a", "[DONE]"]);
        assert_eq!(read(&[b"data: a\n\ndata: [DONE]\n"]), ["a", "[DONE]"]);
        assert_eq!(read(&[b"\xef\xbb\xbfdata: a\n\n"]), ["a"]);
    }

    #[test]
    fn an_error_event_is_known_by_its_name() {
        let mut frames = Frames::default();
        frames.push(b"event: error\ndata: x\n\nevent: message\ndata: y\n\n");
        assert!(frames.next().unwrap().unwrap().error);
        assert!(!frames.next().unwrap().unwrap().error);
    }

    #[test]
    fn a_frame_larger_than_the_limit_is_refused() {
        let mut frames = Frames::default();
        frames.push(b"data: ");
        let piece = vec![b'x'; 1 << 20];
        let mut pushed = 0;
        let refused = loop {
            frames.push(&piece);
            pushed += piece.len();
            match frames.next() {
                Ok(frame) => assert_eq!(frame, None),
                Err(error) => break error,
            }
        };
        assert_eq!(refused, TooLarge);
        assert!(pushed <= MAX_FRAME + piece.len());
        let mut lines = Frames::default();
        let line = [b"data: ".as_slice(), &piece, b"\n"].concat();
        assert!((0..20).any(|_| {
            lines.push(&line);
            lines.next().is_err()
        }));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_bytes_are_cut(cuts in proptest::collection::vec(0_usize..120, 0..12)) {
            let stream = "data: {\"é\":\"日本\"}\r\n\r\n: …\r\ndata: zwei\r\ndata: drei\r\n\r\ndata: [DONE]\r\n\r\n".as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&chunks), ["{\"é\":\"日本\"}", "zwei\ndrei", "[DONE]"]);
        }
    }
}
