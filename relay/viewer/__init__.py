"""The pages people look at: plain HTML, CSS and ES modules, served as they lie in this folder."""
