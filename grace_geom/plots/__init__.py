"""Figures: plain functions of results, and their files. No torch, no Streamlit."""
