"""Records and numbers as plotly figures: plain functions, without torch and without Streamlit."""
