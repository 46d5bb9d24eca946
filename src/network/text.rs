//! Texts made while compiling, for errors that name numbers.

/// Bytes of a text at most; what is longer is cut.
const MOST: usize = 512;

/// A text.
pub(crate) struct Text {
    bytes: [u8; MOST],
    length: usize,
}

impl Text {
    pub(crate) const EMPTY: Self = Self { bytes: [0; MOST], length: 0 };

    /// With more text behind it.
    pub(crate) const fn and(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        let mut i = 0;
        while i < text.len() && self.length < MOST {
            self.bytes[self.length] = text[i];
            self.length += 1;
            i += 1;
        }
        self
    }
    /// With a number behind it.
    pub(crate) const fn and_number(mut self, number: usize) -> Self {
        let mut digits = 1;
        while digits < 20 && number / 10usize.pow(digits) > 0 {
            digits += 1;
        }
        while digits > 0 && self.length < MOST {
            digits -= 1;
            self.bytes[self.length] = b'0' + (number / 10usize.pow(digits) % 10) as u8;
            self.length += 1;
        }
        self
    }
    /// Stops the compilation with it.
    pub(crate) const fn panic(&self) -> ! {
        let (text, _) = self.bytes.split_at(self.length);
        match core::str::from_utf8(text) {
            Ok(text) => panic!("{}", text),
            Err(_) => panic!("wrong"),
        }
    }
}
