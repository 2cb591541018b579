"""What came out: rows on disk, and the tables and figures that are pure functions of them."""
