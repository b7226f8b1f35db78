"""The sections of the page, one file each; `partcnn.reporting.page.PANELS` lists them."""
