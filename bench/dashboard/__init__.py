"""All results as one HTML file: `document` has them as plain values, `page` as text."""
