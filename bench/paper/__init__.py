"""The paper's comparisons on our data, at the size of this project: docs/paper.md shows the results."""
