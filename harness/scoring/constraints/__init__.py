"""Verifiable instructions: IFBench's 58 kinds, strict and loose."""
