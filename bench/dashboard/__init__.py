"""All results as one HTML file: `collect` makes plain values of them, `page` text of those."""
